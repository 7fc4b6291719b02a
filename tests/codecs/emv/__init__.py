"""Tests of isoswitch.codecs.emv."""
