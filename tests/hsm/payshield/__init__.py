"""The payment HSM backend: layouts, wire, client, and a simulated unit."""
