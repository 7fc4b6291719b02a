"""The hash chain and its Merkle roots."""
