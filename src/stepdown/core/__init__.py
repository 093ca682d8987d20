"""The words of the project as small frozen types; pure rules; errors; the registry of kinds. No IO here."""
