"""ISO 20022: XML documents <-> checked trees <-> typed messages <-> transactions."""
