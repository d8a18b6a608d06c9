"""The plots of a report: each a pure function of frames, each saved as SVG, PNG and the CSV it was drawn from."""
