"""Examples on real data; each folder runs by `make example-NAME`."""
