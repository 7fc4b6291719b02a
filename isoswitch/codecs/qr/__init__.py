"""QR codes: merchant-presented, consumer-presented, payment codes and links."""
