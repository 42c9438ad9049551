// Compiled once to make the precompiled standard headers; has no code of its own.
