"""Adapters: the frameworks that programs with agents are written in keep their conversations in Clew.

One module for each framework, and one extra that installs what it needs. They use the client alone.
"""
