"""Payment commands in terms of key names, over PKCS#11 or software engines."""
