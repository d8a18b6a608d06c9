"""Opens a page in a real Chromium and lets a script judge it there."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any


def chromium() -> str:
    """Return the browser's path. Raises FileNotFoundError with the command that gets it."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise FileNotFoundError("chromium is missing; to get it: ./setup.sh test (apt-get install chromium)")
    return path


def ask_page(page: Path, script: str, *, width: int = 1200, dark: bool = False) -> Any:
    """Return what `script` (a JavaScript function body) returns on the loaded page; errors of the page come with it."""
    probe = """
<script>
window.pageErrors = [];
</script>"""
    ask = f"""
<script>
(async () => {{
  let answer;
  try {{ answer = {{ value: await (async () => {{ {script} }})(), errors: window.pageErrors }}; }}
  catch (error) {{ answer = {{ error: String(error) }}; }}
  const out = document.createElement("textarea");
  out.id = "answer";
  out.textContent = "ANSWER" + JSON.stringify(answer) + "END";
  document.body.replaceChildren(out);
}})();
</script>"""
    listen = probe.replace("];", '];\nwindow.addEventListener("error", (e) => window.pageErrors.push(e.message));')
    text = page.read_text().replace("<head>", "<head>" + listen, 1).replace("</body>", ask + "</body>", 1)
    copy = page.with_name("asked.html")
    copy.write_text(text)
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                chromium(),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={profile}",
                f"--window-size={width},900",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                "--virtual-time-budget=20000",
                "--dump-dom",
                copy.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=250,
            check=True,
        )
    copy.unlink()
    start, end = done.stdout.index("ANSWER"), done.stdout.rindex("END")
    found = json.loads(done.stdout[start + 6 : end].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert "error" not in found, found
    assert found["errors"] == []
    return found["value"]
