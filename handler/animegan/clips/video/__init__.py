"""Videos: their frames decoded, drawn and encoded one at a time, their sound kept."""
