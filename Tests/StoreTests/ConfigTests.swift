import Domain
import FoundationEssentials
import Postgres
import Store
import Testing

@Suite(.serialized) struct ConfigTests {
    @Test func valuesArriveByteForByte() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let all = (1...255).map { UInt8($0) }
            let big = try ConfigValue((0..<65_536).map { UInt8(1 + $0 % 255) })
            let changes: [String: ConfigValue?] = [
                "BYTES": try ConfigValue(all), "BIG": big, "EMPTY": try ConfigValue(""),
                "TEXT": try ConfigValue("a\n\"b\" 'c' $HOME `x` ü🚀"),
            ]
            let change = try await h.store.patchConfig(
                app.id, changes: changes, ifMatch: nil, actor: h.admin, now: h.now())
            #expect(change.version == 1 && change.release == nil && change.operation.state == .completed)
            #expect(try await h.store.config(app.id).vars == changes.compactMapValues { $0 })
            #expect(try await h.store.configVars(app.id, version: 1) == change.vars)
            #expect(try await h.store.configVars(app.id, version: 0).isEmpty)
            try await refused(.notFound) { try await h.store.configVars(app.id, version: 9) }
        }
    }

    @Test func noValueIsEverInTheDatabase() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            let secret = "hunter2-in-clear"
            _ = try await h.set(app, ["PASSWORD": secret])
            try await h.deploy(app)
            _ = try await h.set(app, ["PASSWORD": secret + "!", "OTHER": secret])
            _ = try await h.store.rollback(app.id, to: 1, actor: h.admin, now: h.now())
            let dump = try h.cluster.dump(h.url)
            #expect(dump.contains("config_versions"))
            let hex = secret.utf8.map { String($0, radix: 16) }.joined()
            let base64 = Data(secret.utf8).base64EncodedString().prefix(18)
            let hexOfBase64 = base64.utf8.map { String($0, radix: 16) }.joined()
            for form in [secret, hex, String(base64), hexOfBase64] { #expect(!dump.contains(form)) }
        }
    }

    @Test func blobsCantBeSwappedAndAnotherKeyIsRefused() async throws {
        try await Harness.run { h in
            let (a, b) = (try await h.app("alpha"), try await h.app("beta"))
            _ = try await h.set(a, ["K": "of-alpha"])
            _ = try await h.set(b, ["K": "of-beta"])
            _ = try await h.set(b, ["K": "of-beta-2"])
            let pool = try PostgresPool(PostgresConfiguration(connection: h.url, poolSize: 1))
            defer { pool.close() }
            let (aID, bID) = (a.id.uuid, b.id.uuid)
            try await pool.transaction { session in
                _ = try session.run(
                    """
                    update config_versions set sealed = (select sealed from config_versions where app_id = \(aID))
                    where app_id = \(bID) and version = 1
                    """)
                _ = try session.run(
                    """
                    update config_versions set sealed = overlay(sealed placing '\\x00'::bytea from 20)
                    where app_id = \(aID)
                    """)
            }
            for (app, version) in [(a, 1), (b, 1)] {
                let error = try await refused(.internal) { try await h.store.configVars(app.id, version: version) }
                #expect(!"\(ErrorChain(error))".contains("of-"))
            }
            #expect(try await h.store.config(b.id).vars["K"]?.text == "of-beta-2")
            h.store.close()
            let other = try Harness.open(h.url, key: [UInt8](repeating: 8, count: 32))
            defer { other.close() }
            try await refused(.invalid) { try await other.beginEpoch() }
            try await refused(.invalid) { _ = try EncryptionKey([1, 2, 3]) }
        }
    }

    @Test func oneChangeIsOneVersionAndOneRelease() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app, slug: 1)
            let change = try await h.set(app, ["A": "1", "B": "2"])
            #expect(change.version == 1 && change.release == 2)
            #expect(change.operation.kind == .config && change.operation.state == .starting)
            let release = try await h.store.release(app.id, version: 2)
            #expect(try release.slug == Harness.slug(1).digest && release.configVersion == 1)
            #expect(release.state == .pending && release.operation == change.operation.id)
            #expect(release.description == "Set A, B")
            let same = try await h.set(app, ["A": "1", "C": nil])
            #expect(same.version == 1 && same.release == nil && same.operation.state == .completed)
            let unset = try await h.set(app, ["A": nil])
            #expect(unset.version == 2 && unset.release == 3 && unset.vars.keys.sorted() == ["B"])
            #expect(try await h.operation(change.operation.id).state == .cancelled)
            #expect(try await h.store.release(app.id, version: 2).state == .superseded)
            // Stays as written though its release fails.
            try await h.store.markReleaseFailed(app.id, version: 3, output: "no\0pe", epoch: h.epoch, now: h.now())
            #expect(try await h.store.config(app.id).version == 2)
            let failed = try await h.operation(unset.operation.id)
            #expect(failed.state == .failed && failed.error?.message == "release v3 failed: no\u{FFFD}pe")
            try await refused(.preconditionFailed) {
                try await h.store.patchConfig(app.id, changes: [:], ifMatch: 1, actor: h.admin, now: h.now())
            }
            // Reserved names can be unset: they may be older than their reservation.
            _ = try await h.set(app, ["PORT": nil, "BASH_ENV": nil])
            for bad in ["PORT", "PAAS_X", "1A", "A-B", "", "A\0"] {
                try await refused(.invalid) { try await h.set(app, [bad: "x"]) }
            }
            let huge = String(repeating: "x", count: 100_000)
            var many: [String: String?] = [:]
            for n in 0..<12 { many["K\(n)"] = huge }
            try await refused(.tooLarge) { try await h.set(app, many) }
        }
    }

    /// What the first processes crash for want of has to reach them.
    @Test func aChangeDuringTheFirstRolloutReachesIt() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            // With no release at all it waits for the first one.
            let early = try await h.set(app, ["EARLY": "1"])
            #expect(early.release == nil && early.operation.state == .completed)
            var status = try await h.store.configStatus(app.id)
            #expect(status.wantedVersion == 1 && status.runningVersion == nil && status.release == nil)
            let (build, first) = try await h.push(app)
            #expect(first?.configVersion == 1)
            try await h.store.markRolling(app.id, version: 1, epoch: h.epoch, now: h.now())
            let change = try await h.set(app, ["DB_URL": "x"])
            #expect(change.release == 2 && change.operation.state == .starting)
            let second = try await h.store.release(app.id, version: 2)
            #expect(second.slug == first?.slug && second.commit == first?.commit && second.configVersion == 2)
            #expect(try await h.store.release(app.id, version: 1).state == .superseded)
            #expect(try await h.store.ports(app.id).count == 1)
            // The push goes by what becomes of the same code with the new config.
            #expect(try await h.store.releaseState(app.id, version: 1).state == .pending)
            #expect(try await h.store.buildsAwaitingRef().isEmpty)
            try await h.rollOut(app, 2)
            #expect(try await h.store.releaseState(app.id, version: 1).state == .current)
            #expect(try await h.store.buildsAwaitingRef().map(\.id) == [build.id])
            status = try await h.store.configStatus(app.id)
            #expect(status.isRunning && status.release == 2 && status.releaseState == .current)
        }
    }

    @Test func itIsSaidWhichAppsDoNotRunTheirConfig() async throws {
        try await Harness.run { h in
            let app = try await h.app("alpha")
            try await h.deploy(app)
            #expect(try await h.store.configStatus(app.id).isRunning)
            _ = try await h.set(app, ["A": "1"])
            try await h.store.markReleaseFailed(app.id, version: 2, output: "no", epoch: h.epoch, now: h.now())
            let expected = ConfigStatus(
                app: "alpha", wantedVersion: 1, runningVersion: 0, release: 2, releaseState: .failed)
            #expect(try await h.store.configStatus(app.id) == expected && !expected.isRunning)
            #expect(try await h.store.outdatedConfigs(for: h.admin) == [expected])
            #expect(try await h.store.outdatedConfigs(for: h.scoped("other")).isEmpty)
            _ = try await h.set(app, ["A": nil])
            try await h.rollOut(app, 3)
            #expect(try await h.store.outdatedConfigs(for: h.admin).isEmpty)
            try await refused(.notFound) { try await h.store.configStatus(.random()) }
        }
    }
}
