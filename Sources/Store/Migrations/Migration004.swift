import Postgres

extension Migrations {
    static let migration004 = PostgresMigration(
        number: 4, name: "SSH keys",
        sql: """
            create table access_keys (
                id uuid primary key,
                token_id uuid not null references tokens,
                name text not null,
                type text not null,
                -- Type and base64, as a line of authorized_keys has them.
                public_key text not null,
                fingerprint bytea not null unique,
                created_at timestamptz not null
            );
            create index access_keys_by_token on access_keys (token_id);
            """)
}
