"""The verbs. A file named `import_` is the verb `import`."""
