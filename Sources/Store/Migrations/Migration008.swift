import Postgres

extension Migrations {
    static let migration008 = PostgresMigration(
        number: 8, name: "answers to requests with an Idempotency-Key",
        sql: """
            create table idempotency_keys (
                token_id uuid not null references tokens on delete cascade,
                key text not null,
                -- SHA-256 of what was asked.
                fingerprint bytea not null,
                status bigint not null,
                headers jsonb not null,
                -- Encrypted: an answer may hold a secret, as that which makes a token does.
                body bytea not null,
                created_at timestamptz not null,
                primary key (token_id, key)
            );
            create index idempotency_keys_by_age on idempotency_keys (created_at);
            create index idempotency_keys_by_token on idempotency_keys (token_id, created_at);
            """)
}
