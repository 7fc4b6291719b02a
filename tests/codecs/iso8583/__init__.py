"""Tests of isoswitch.codecs.iso8583."""
