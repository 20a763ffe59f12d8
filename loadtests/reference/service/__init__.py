"""The proposal writer on the proposal's own stack: FastAPI, Gunicorn, SQLAlchemy, WeasyPrint.

A stand-in that the load tests measure beside the Rust backend. It honours the part of the HTTP
contract that the load scenario uses, under the same environment variables.
"""
