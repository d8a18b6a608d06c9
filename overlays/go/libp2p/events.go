package main

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
)

var output sync.Mutex

// tell writes one event; `t` is Unix time in seconds.
func tell(event string, fields map[string]any) {
	line := map[string]any{"event": event, "t": float64(time.Now().UnixMicro()) / 1e6}
	for name, value := range fields {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		fail(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

// path says which way a connection goes.
func path(conn network.Conn) string {
	if strings.Contains(conn.RemoteMultiaddr().String(), "/p2p-circuit") {
		return "relayed"
	}
	return "direct"
}

// tracer tells what the hole puncher does.
type tracer struct{ names map[string]string }

func (t tracer) Trace(event *holepunch.Event) {
	tell("punch", map[string]any{"peer": named(t.names, event.Remote.String()), "step": event.Type, "detail": event.Evt})
}

// told is a notifiee that tells of connections with peers that have names.
func told(names map[string]string) network.Notifiee {
	say := func(what string) func(network.Network, network.Conn) {
		return func(_ network.Network, conn network.Conn) {
			if name, known := names[conn.RemotePeer().String()]; known {
				tell(what, map[string]any{"peer": name, "path": path(conn), "remote": conn.RemoteMultiaddr().String()})
			}
		}
	}
	return &network.NotifyBundle{ConnectedF: say("connected"), DisconnectedF: say("disconnected")}
}

func named(names map[string]string, id string) string {
	if name, known := names[id]; known {
		return name
	}
	return id
}
