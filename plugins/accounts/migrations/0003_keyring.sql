-- What was sealed before there was a keyring becomes what the keyring opens: in front of it stand a layout, 0, and the id of its key.
UPDATE accounts_keys SET sealed = CONCAT(X'00', UNHEX(sealed_by), sealed), sealed_by = '' WHERE sealed_by <> '';
