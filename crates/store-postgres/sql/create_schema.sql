-- Makes the store's schema; only when it is missing, as even IF NOT EXISTS asks for the right to.
CREATE SCHEMA IF NOT EXISTS annals
