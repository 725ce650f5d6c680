"""Long commands that are cut short: killed, stopped, out of disk, two at a time.

python -m tests.kills --kills 100 --seed 0
"""
