"""The same work, served by other projects' servers: an application of each, and what puts them under load.

The applications (`*_app.py`) run under a Python that has the server and is not this project's; they import of this
project what decodes, crops and infers, and nothing else.
"""
