"""The version of emojax: `emojax.__version__`, and what results say they were made by."""

VERSION = "0.1.0"
