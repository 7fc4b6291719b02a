"""The whole switch in one process, on memory streams and a virtual clock."""
