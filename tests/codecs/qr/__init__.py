"""Tests of isoswitch.codecs.qr."""
