-- The loader's tables.
-- expects: error
package.loadlib("libc.so.6", "*")
