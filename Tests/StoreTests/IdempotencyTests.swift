import Domain
import Postgres
import Store
import Testing

@Suite(.serialized) struct IdempotencyTests {
    private func answer(_ body: String, _ fingerprint: UInt8 = 1) -> IdempotentAnswer {
        IdempotentAnswer(
            fingerprint: [UInt8](repeating: fingerprint, count: 32), status: 201,
            headers: ["Content-Type": "application/json", "Location": "/api/v1/keys/1"], body: Array(body.utf8))
    }

    private func tokens(_ h: Harness) async throws -> (admin: TokenID, other: TokenID) {
        let now = h.now()
        try await h.store.ensureAdminToken(secretHash: [UInt8](repeating: 1, count: 32), now: now)
        let admin = try #require(
            try await h.store.principal(secretHash: [UInt8](repeating: 1, count: 32), now: now))
        let other = try await h.store.createToken(
            role: .viewer, space: nil, expiresAt: nil, secretHash: [UInt8](repeating: 2, count: 32), actor: admin,
            now: now)
        return (admin.token, other.id)
    }

    @Test func anAnswerIsKeptForItsTokenAndADay() async throws {
        try await Harness.run { h in
            let (admin, other) = try await tokens(h)
            let key = try IdempotencyKey(token: admin, text: "a'b\"c")
            let theirs = try IdempotencyKey(token: other, text: key.text)
            let now = h.now()
            #expect(try await h.store.idempotentAnswer(key, now: now) == nil)
            try await h.store.keepIdempotentAnswer(answer("mine"), key, now: now)
            #expect(try await h.store.idempotentAnswer(key, now: now) == answer("mine"))
            #expect(try await h.store.idempotentAnswer(theirs, now: now) == nil)
            try await h.store.keepIdempotentAnswer(answer("", 2), theirs, now: now)
            #expect(try await h.store.idempotentAnswer(theirs, now: now) == answer("", 2))
            #expect(try await h.store.idempotentAnswer(key, now: now) == answer("mine"))

            // Another paasd on the same database gives it too.
            h.store.close()
            let next = try Harness.open(h.url)
            defer { next.close() }
            _ = try await next.beginEpoch()
            #expect(try await next.idempotentAnswer(key, now: now) == answer("mine"))
            let late = now.adding(seconds: Limits.idempotencySeconds)
            #expect(try await next.idempotentAnswer(key, now: late.adding(seconds: -1)) != nil)
            #expect(try await next.idempotentAnswer(key, now: late) == nil)
            // The key is free for another request, and what is old is gone.
            try await next.keepIdempotentAnswer(answer("new", 3), key, now: late)
            #expect(try await next.idempotentAnswer(key, now: late) == answer("new", 3))
            #expect(try await next.idempotentAnswer(theirs, now: now) == nil)
        }
    }

    @Test func noSecretIsReadInTheDatabase() async throws {
        try await Harness.run { h in
            let key = try IdempotencyKey(token: try await tokens(h).admin, text: "k")
            let now = h.now()
            try await h.store.keepIdempotentAnswer(answer("paas_sesame"), key, now: now)
            let pool = try PostgresPool(PostgresConfiguration(connection: h.url, poolSize: 1))
            defer { pool.close() }
            let row = try await pool.transaction {
                try $0.one("select body from idempotency_keys").get("body", as: [UInt8].self)
            }
            #expect(row.count > 11 && !String(decoding: row, as: UTF8.self).contains("sesame"))
            // What was moved to another row doesn't open there.
            try await pool.transaction { _ = try $0.run("update idempotency_keys set key = 'other'") }
            try await refused(.internal) {
                try await h.store.idempotentAnswer(try IdempotencyKey(token: key.token, text: "other"), now: now)
            }
        }
    }

    @Test func oneTokenHasSoManyAnswers() async throws {
        try await Harness.run { h in
            let (admin, other) = try await tokens(h)
            let now = h.now()
            let pool = try PostgresPool(PostgresConfiguration(connection: h.url, poolSize: 1))
            defer { pool.close() }
            try await pool.transaction { session in
                for token in [admin, other] {
                    try session.run(
                        """
                        insert into idempotency_keys (token_id, key, fingerprint, status, headers, body, created_at)
                        select \(token), n::text, ''::bytea, 201, '{}'::jsonb, ''::bytea,
                            \(now)::timestamptz - n * interval '1 second'
                        from generate_series(1, \(Limits.idempotentAnswersPerToken)) n
                        """)
                }
            }
            try await h.store.keepIdempotentAnswer(answer("x"), try IdempotencyKey(token: admin, text: "k"), now: now)
            let counts = try await pool.transaction { session in
                try session.rows("select count(*) as n from idempotency_keys group by token_id").map {
                    try $0.get("n", as: Int.self)
                }
            }
            #expect(counts == [Limits.idempotentAnswersPerToken, Limits.idempotentAnswersPerToken])
            #expect(
                try await h.store.idempotentAnswer(try IdempotencyKey(token: admin, text: "k"), now: now)
                    == answer("x"))
        }
    }

    @Test func keysArePrintable() throws {
        let token = TokenID.random()
        for text in ["", "ä", "a\nb", "\u{7f}", String(repeating: "k", count: Limits.idempotencyKeyBytes + 1)] {
            #expect(throws: PaaSError.self) { try IdempotencyKey(token: token, text: text) }
        }
        #expect(try IdempotencyKey(token: token, text: "~ !").text == "~ !")
    }
}
