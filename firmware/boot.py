"""Runs before main.py on a chip. Empty on purpose: the prompt stays reachable until the device is locked
(`ports.esp32.close_prompt`).
"""
