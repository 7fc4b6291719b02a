"""The rules of moving money between institutions."""
