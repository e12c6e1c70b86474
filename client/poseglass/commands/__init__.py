"""Commands of the command line that belong to the client; `poseglass.cli` lists them all."""
