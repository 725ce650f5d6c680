"""What every command stands on: command line, errors, files, devices, compiler options."""
