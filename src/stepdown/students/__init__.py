"""From a dataset to students: small models that answer the task, each an artefact folder that opens without torch."""
