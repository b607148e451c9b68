import Domain
import Glibc
import OS

/// One run of a program of git: its input comes from a channel, its output goes there.
struct GitRun {
    let spec: ProcessSpec
    let channel: FrameChannel
    let limits: GitLimits
    /// Throws when no more input may be taken.
    let look: @Sendable () throws(PaaSError) -> Void

    struct Outcome {
        var status: Int32 = 0
        /// The last part of what it wrote to standard error.
        var tail = OutputTail()
        /// Some of its output was handed on.
        var hasReplied = false
        /// Why it was ended from here, if it was.
        var reason: PaaSError?
    }

    /// Descriptor on which the hook says that it began.
    static let begunDescriptor: Int32 = 3

    /// Blocks until the program ended.
    /// - Parameters:
    ///   - prelude: input that was read already; `ended`: nothing follows it.
    ///   - begun: called once if a hook says that it began.
    /// - Throws: if the program can't be started, or the peer takes no more of its output.
    func perform(prelude: [UInt8], ended: Bool, begun: () -> Void) throws -> Outcome {
        let input = try Pipe(), output = try Pipe(), errors = try Pipe(), signal = try Pipe()
        let child = try ChildProcess.spawn(
            spec,
            descriptors: [input.readEnd.raw, output.writeEnd.raw, errors.writeEnd.raw, signal.writeEnd.raw])
        let group = ProgramGroup(leader: child.pid)
        var outcome = Outcome()
        var failure: (any Error)?
        do {
            let feed = InputFeed(
                try input.writeEnd.duplicate(), from: channel, limits: limits, look: look)
            let ends = Ends(
                output: try output.readEnd.duplicate(), errors: try errors.readEnd.duplicate(),
                begun: try signal.readEnd.duplicate())
            _ = consume input
            _ = consume output
            _ = consume errors
            _ = consume signal
            try Thread.tryStart("git-stdin") {
                // Without its peer the program and its hook end; the build that they began does not.
                feed.pump(first: prelude, ended: ended) { group.stop($0) }
            }
            try relay(ends, child.pidfd.raw, group, &outcome, begun)
        } catch {
            failure = error
            group.stop()
        }
        try Self.awaitEnd(child.pidfd.raw)
        group.close()
        outcome.status = try child.wait()
        if let failure { throw failure }
        outcome.reason = group.reason
        return outcome
    }

    private struct Ends: ~Copyable {
        let output: OwnedFD
        let errors: OwnedFD
        let begun: OwnedFD
    }

    /// Until the program has ended and all that it wrote was read.
    private func relay(
        _ ends: borrowing Ends, _ pidfd: Int32, _ group: ProgramGroup, _ outcome: inout Outcome, _ begun: () -> Void
    ) throws {
        let output = ends.output.raw, errors = ends.errors.raw
        var open: Set = [output, errors, ends.begun.raw, pidfd]
        while !open.isDisjoint(with: [output, errors, pidfd]) {
            var polls = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let count = nfds_t(polls.count)
            try Syscall.check("poll") { poll(&polls, count, -1) }
            for ready in polls where ready.revents != 0 {
                switch ready.fd {
                case output:
                    let part = try ends.output.read(upTo: 65_536)
                    if part.isEmpty {
                        open.remove(output)
                    } else {
                        try channel.send([GitFrame.output] + part)
                        outcome.hasReplied = true
                    }
                case errors:
                    let part = try ends.errors.read(upTo: 4096)
                    if part.isEmpty { open.remove(errors) } else { outcome.tail.append(part) }
                case pidfd:
                    // Nobody else shall hold the pipes open.
                    group.close()
                    open.remove(pidfd)
                default:
                    open.remove(ready.fd)
                    if !(try ends.begun.read(upTo: 1)).isEmpty { begun() }
                }
            }
        }
    }

    private static func awaitEnd(_ pidfd: Int32) throws(SystemError) {
        var ended = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        try Syscall.check("poll") { poll(&ended, 1, -1) }
    }
}
