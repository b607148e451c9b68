import ArgumentParser
import Domain
import Glibc
import Testing

@testable import paasctl

@Suite struct BuildTests {
    @Test(arguments: [
        [], ["--tar", "a", "--git", "https://h.example/x"], ["--ref", "v1", "--commit", "abc"],
        ["--git", "https://me:sesame@h.example/x"], ["--git", "/srv/x"],
    ]) func wrongSourcesAreWrongUsage(arguments: [String]) {
        let error = #expect(throws: (any Error).self) { try BuildsCreate.parse(arguments) }
        #expect(error.map { PaasCtl.exitCode(for: $0) } == .validationFailure)
        #expect(error.map { !BuildsCreate.message(for: $0).contains("sesame") } == true)
    }

    @Test func aBuildShowsItsPlaceAndTime() throws {
        let now = try #require(Timestamp("2030-01-01T00:02:05Z"))
        func json(_ text: String) throws -> JSONValue { try JSONParser.parse(Array(text.utf8)) }
        let queued = try json(#"{"state":"queued","waitsFor":2,"startedAt":null}"#)
        #expect(Builds.List.state(queued) == "queued, 2 before it" && Builds.List.duration(queued, now: now) == "-")
        let running = try json(#"{"state":"running","waitsFor":null,"startedAt":"2030-01-01T00:00:00Z"}"#)
        #expect(Builds.List.state(running) == "running" && Builds.List.duration(running, now: now) == "2 min 5 s")
        let done = try json(
            #"{"state":"failed","startedAt":"2030-01-01T00:00:00Z","finishedAt":"2030-01-01T00:00:09Z"}"#)
        #expect(Builds.List.duration(done, now: now) == "9 s")
    }

    @Test func anArchiveIsSentWhole() async throws {
        var template = Array("/tmp/paasctl-upload-XXXXXX".utf8CString)
        let file = template.withUnsafeMutableBufferPointer { $0.baseAddress.map { mkstemp($0) } ?? -1 }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            close(file)
            unlink(path)
        }
        let bytes = [UInt8](repeating: UInt8(ascii: "a"), count: 300_000)
        #expect(write(file, bytes, bytes.count) == bytes.count)
        let body = try UploadBody(path: path)
        defer { body.close() }
        #expect(body.size == 300_000 && body.contentType == "application/octet-stream")
        var parts = 0
        for try await _ in body { parts += 1 }
        #expect(parts == 2)
        #expect(throws: Failure.self) { try UploadBody(path: "/tmp") }
        #expect(throws: Failure.self) { try UploadBody(path: path + "-missing") }

        let small = try UploadBody(path: "/dev/null")
        defer { small.close() }
        #expect(small.size == nil)
        let head = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        let answer = try await ScriptedAPI.run([.init(text: head + "{}", isHeld: true)]) { api, client in
            let reply = try await client.upload("/api/v1/apps/x/builds", query: [("noWait", "1")], small)
            return (reply, api.requests.first ?? "")
        }
        #expect(answer.0.status == 202 && answer.1.hasPrefix("POST /api/v1/apps/x/builds?noWait=1 "))
        #expect(answer.1.lowercased().contains("content-type: application/octet-stream"))
    }

    @Test func aCancelledBuildIsWaitedForAndOneThatWonIsTold() async throws {
        func run(_ replies: [String]) async throws {
            let api = try ScriptedAPI(replies.map { .json(#"{"number":3,"state":"\#($0)"}"#) })
            defer { withExtendedLifetime(api) {} }
            let command = try Builds.Cancel.parse([
                "3", "-a", "dns", "--api", "http://127.0.0.1:\(api.port)", "--token", "t",
            ])
            try await command.run()
            #expect(api.requests.count == replies.count)
        }
        try await run(["running", "running", "cancelled"])
        await #expect(throws: Failure.self) { try await run(["running", "succeeded"]) }
    }
}
