"""What `dlk check` follows: names, files and sizes through both configs of an experiment.

Everything here asks config objects alone, by their `signature()`: no data is processed, no model is
built, and neither torch nor numpy is imported.
"""
