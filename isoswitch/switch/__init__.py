"""The running host: connections, dispatch, flows, links, recovery."""
