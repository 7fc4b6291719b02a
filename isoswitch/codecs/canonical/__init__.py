"""The values every room shares: money, cards, codes, transactions, errors."""
