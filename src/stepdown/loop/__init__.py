"""The only assembler: settings, wiring and the spine."""
