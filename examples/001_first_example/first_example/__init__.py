"""A newcomer's own model, processor and datamodule: one small file each, and their options."""
