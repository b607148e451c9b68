import Glibc
import OS
import Testing

@Suite struct CommandTests {
    @Test func aCommandEndsWithWhoeverItRunsFor() throws {
        var pair: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2_000_000, 0, &pair) == 0)
        let here = OwnedFD(pair[0]), there = pair[1]
        let alive = try Command(ProcessSpec("/bin/cat", [])).run(input: [120], whileConnected: here.raw)
        #expect(alive.status == 0 && alive.output == [120] && !alive.isUnwanted)
        OS.Thread.start("hangs-up") { close(there) }
        let result = try Command(ProcessSpec("/bin/sleep", ["1000"]), timeoutSeconds: 20).run(whileConnected: here.raw)
        #expect(result.isUnwanted && !result.timedOut && result.status == 128 + SIGKILL)
    }

    @Test func outputStatusAndInputComeThrough() throws {
        let result = try Command(ProcessSpec("/bin/bash", ["-c", "cat; echo err >&2; exit 3"])).run(
            input: Array("in".utf8))
        #expect(result.text == "in")
        #expect(result.errorText == "err\n")
        #expect(result.status == 3)
        #expect(!result.timedOut)
    }

    @Test func argumentsAreNeverReadByAShell() throws {
        let result = try Command(ProcessSpec("/bin/echo", ["$(id)", "a b", "*"])).run()
        #expect(result.text == "$(id) a b *\n")
    }

    @Test func theEnvironmentIsOnlyWhatWasGiven() throws {
        let result = try Command(ProcessSpec("/usr/bin/env", [], environment: ["A": "1"])).run()
        #expect(result.text == "A=1\n")
    }

    @Test func aLongRunningCommandIsEnded() throws {
        let result = try Command(ProcessSpec("/bin/sleep", ["60"]), timeoutSeconds: 1).run()
        #expect(result.timedOut)
        #expect(result.status == 128 + SIGKILL)
    }

    @Test func outputAboveTheLimitIsCut() throws {
        let result = try Command(ProcessSpec("/usr/bin/head", ["-c", "1000000", "/dev/zero"]), outputLimit: 1000).run()
        #expect(result.output.count == 1000)
        #expect(result.status == 0)
    }

    @Test func aMissingProgramIsAnErrorThatNamesIt() {
        let error = #expect(throws: SystemError.self) { try Command(ProcessSpec("/nonexistent/program", [])).run() }
        #expect(error?.errno == ENOENT)
        #expect(error?.description.contains("/nonexistent/program") == true)
    }

    @Test func descriptorsGoInOrderAndOthersStayOut() throws {
        let leak = try OwnedFD.open("/dev/null", O_RDONLY)
        let result = try Command(ProcessSpec("/bin/ls", ["/proc/self/fd"])).run()
        // 0, 1, 2 and the one that ls itself opened.
        #expect(result.text == "0\n1\n2\n3\n")
        _ = leak.raw
    }

    @Test func anAbandonedChildIsGone() throws {
        let child = try ChildProcess.spawn(ProcessSpec("/bin/sleep", ["60"]), descriptors: [nil, nil, nil])
        let pid = child.pid
        #expect(child.abandon(SystemError("read", errno: EIO)) == SystemError("read", errno: EIO))
        #expect(try Host.startTime(of: pid) == nil)
    }

    @Test func aChildCanBeFirstToGoWhenMemoryIsShort() throws {
        var spec = ProcessSpec("/bin/cat", ["/proc/self/oom_score_adj"])
        spec.outOfMemoryScore = 500
        #expect(try Command(spec).run().text == "500\n")
    }

    @Test func aChildEndsWithTheThreadThatStartedIt() throws {
        var spec = ProcessSpec("/bin/sleep", ["60"])
        spec.parentDeathSignal = SIGKILL
        let prepared = spec
        let pipe = try Pipe()
        let writing = try pipe.writeEnd.duplicate().release()
        Thread.start("starter") {
            var pid: pid_t = -1
            if let child = try? ChildProcess.spawn(prepared, descriptors: [nil, nil, nil]) { pid = child.pid }
            write(writing, &pid, MemoryLayout<pid_t>.size)
            close(writing)
        }
        let bytes = try pipe.readEnd.readFully(MemoryLayout<pid_t>.size)
        let pid = bytes.withUnsafeBytes { $0.loadUnaligned(as: pid_t.self) }
        try #require(pid > 0)
        var status: Int32 = 0
        #expect(waitpid(pid, &status, 0) == pid)
        #expect(status & 0x7f == SIGKILL)
    }
}
