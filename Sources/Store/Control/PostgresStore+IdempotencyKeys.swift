public import Domain
import Postgres

extension PostgresStore {
    public func idempotentAnswer(_ key: IdempotencyKey, now: Timestamp) async throws(PaaSError) -> IdempotentAnswer? {
        let sealer = sealer
        let oldest = now.adding(seconds: -Limits.idempotencySeconds)
        return try await read { session in
            guard
                let row = try session.first(
                    """
                    select fingerprint, status, headers, body from idempotency_keys
                    where token_id = \(key.token) and key = \(key.text) and created_at > \(oldest)
                    """)
            else { return nil }
            return IdempotentAnswer(
                fingerprint: try row.get("fingerprint"), status: try row.get("status"),
                headers: try row.json("headers"),
                body: try sealer.open(answer: try row.get("body"), context: Self.context(key)))
        }
    }

    public func keepIdempotentAnswer(_ answer: IdempotentAnswer, _ key: IdempotencyKey, now: Timestamp)
        async throws(PaaSError)
    {
        let body = try sealer.seal(answer: answer.body, context: Self.context(key))
        let oldest = now.adding(seconds: -Limits.idempotencySeconds)
        try await write(now: now) { transaction in
            try transaction.session.run("delete from idempotency_keys where created_at <= \(oldest)")
            try transaction.session.run(
                """
                insert into idempotency_keys (token_id, key, fingerprint, status, headers, body, created_at)
                values (\(key.token), \(key.text), \(answer.fingerprint), \(answer.status), \(JSON(answer.headers)),
                    \(body), \(now))
                on conflict (token_id, key) do update set fingerprint = excluded.fingerprint,
                    status = excluded.status, headers = excluded.headers, body = excluded.body,
                    created_at = excluded.created_at
                """)
            try transaction.session.run(
                """
                delete from idempotency_keys where token_id = \(key.token) and created_at < (
                    select created_at from idempotency_keys where token_id = \(key.token)
                    order by created_at desc offset \(Limits.idempotentAnswersPerToken - 1) limit 1)
                """)
        }
    }

    /// Binds an encrypted body to its row. The caller's own text comes last.
    private static func context(_ key: IdempotencyKey) -> String {
        "slipway answer, encryption key 1, token \(key.token), key \(key.text)"
    }
}
