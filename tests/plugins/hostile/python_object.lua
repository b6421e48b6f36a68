-- The host's own module in the globals.
-- expects: error
python.eval("__import__('os').system('id')")
