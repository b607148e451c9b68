import Domain
import Store
import Testing

@Suite(.serialized) struct KeyTests {
    private func key(_ byte: UInt8, name: String = "laptop") -> AccessKey {
        AccessKey(
            id: .random(), token: .random(), name: name, type: "ssh-ed25519",
            fingerprint: [UInt8](repeating: byte, count: 32), createdAt: Timestamp(microseconds: 0))
    }

    @Test func aKeyStandsForItsTokenAndDiesWithIt() async throws {
        try await Harness.run { h in
            func hash(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 32) }
            let now = h.now()
            try await h.store.ensureAdminToken(secretHash: hash(1), now: now)
            let admin = try #require(try await h.store.principal(secretHash: hash(1), now: now))
            let expiry = now.adding(seconds: 60)
            let token = try await h.store.createToken(
                role: .developer, space: "default", expiresAt: expiry, secretHash: hash(2), actor: admin, now: now)
            let developer = try #require(try await h.store.principal(secretHash: hash(2), now: now))
            _ = try await h.store.createToken(
                role: .viewer, space: nil, expiresAt: nil, secretHash: hash(3), actor: admin, now: now)
            let viewer = try #require(try await h.store.principal(secretHash: hash(3), now: now))

            let made = try await h.store.addKey(key(7), line: "ssh-ed25519 AAAA", actor: developer, now: now)
            #expect(made.token == token.id && made.name == "laptop")
            let holder = try #require(try await h.store.keyHolder(fingerprint: made.fingerprint, now: now))
            #expect(holder.key == made && holder.principal == developer)
            #expect(try await h.store.keyHolder(made.id, now: now) == holder)
            #expect(try await h.store.keyHolder(fingerprint: hash(9), now: now) == nil)
            #expect(try await h.store.keyHolder(.random(), now: now) == nil)

            try await refused(.conflict) {
                try await h.store.addKey(key(7), line: "ssh-ed25519 AAAA", actor: developer, now: now)
            }
            try await refused(.conflict) {
                try await h.store.addKey(key(7), line: "ssh-ed25519 AAAA", actor: viewer, now: now)
            }
            #expect(try await h.store.keys(for: developer) == [made])
            #expect(try await h.store.keys(for: viewer).isEmpty)
            #expect(try await h.store.keys(for: admin) == [made])
            try await refused(.notFound) { try await h.store.removeKey(made.id, actor: viewer, now: now) }

            // Dead, but known: its owner is told so.
            let dead = try #require(try await h.store.keyHolder(made.id, now: expiry))
            #expect(dead.key == made && dead.principal == nil)
            // Then whoever has it may add it anew.
            let taken = try await h.store.addKey(key(7), line: "ssh-ed25519 AAAA", actor: viewer, now: expiry)
            #expect(try await h.store.keyHolder(made.id, now: expiry) == nil)
            #expect(try await h.store.keyHolder(fingerprint: taken.fingerprint, now: expiry)?.principal == viewer)
            try await h.store.revokeToken(viewer.token, actor: admin, now: expiry)
            #expect(try await h.store.keyHolder(taken.id, now: expiry)?.principal == nil)
            try await h.store.removeKey(taken.id, actor: admin, now: expiry)
            #expect(try await h.store.keys(for: admin).isEmpty)
            #expect(Array(try await h.kinds().suffix(4)) == ["key.added", "key.added", "token.revoked", "key.removed"])
        }
    }

    @Test func oneTokenHasSoManyKeys() async throws {
        try await Harness.run { h in
            let now = h.now(), hash = [UInt8](repeating: 1, count: 32)
            try await h.store.ensureAdminToken(secretHash: hash, now: now)
            let admin = try #require(try await h.store.principal(secretHash: hash, now: now))
            for number in 0..<Limits.keysPerToken {
                _ = try await h.store.addKey(key(UInt8(number)), line: "ssh-ed25519 \(number)", actor: admin, now: now)
            }
            try await refused(.exhausted) {
                try await h.store.addKey(key(200), line: "ssh-ed25519 more", actor: admin, now: now)
            }
        }
    }
}
