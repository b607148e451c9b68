import Domain
import Glibc
import OS

extension GitServer {
    /// Runs a program of git for the peer and tells it how that went, also if it does not come to that.
    func exchange(_ channel: FrameChannel, _ call: GitExchangeCall) throws {
        do throws(PaaSError) {
            // Also before anything is pushed: then git shows its user the reason best.
            if call.service == .receivePack { try limits.requireSpace(settings.repositoriesDirectory) }
            try seats.take(call.app)
        } catch {
            return try refuse(channel, call, error)
        }
        defer { seats.leave(call.app) }
        let path = GitWorker.path(call.app, in: settings.repositoriesDirectory)
        if call.isSession {
            // Over SSH a pusher is silent while it packs, and one who fetches while it receives. Whether it is still there is
            // for sshd to say.
            try channel.limitIdle(
                receiveSeconds: call.isPush ? limits.packIdleSeconds : 0, sendSeconds: limits.replyIdleSeconds)
        }
        guard call.isPush else {
            return try run(channel, call, path, prelude: [], ended: false) {}
        }
        let (shallow, prelude, ended): ([String], [UInt8], Bool)
        do throws(PaaSError) {
            (shallow, prelude, ended) = try readPrelude(channel)
        } catch {
            return try refuse(channel, call, error)
        }
        let file = ShallowFile(repository: path)
        var listed = shallow.isEmpty ? nil : try shallowLists.add(shallow, call.app, file)
        func settle() {
            if let push = listed { shallowLists.settle(push, call.app) }
            listed = nil
            tidyShallow(call.app, file)
        }
        defer { settle() }
        // A build may take long, and clones made meanwhile shall not be cut off where the repository is not.
        try run(channel, call, path, prelude: prelude, ended: ended, begun: settle)
    }

    private func run(
        _ channel: FrameChannel, _ call: GitExchangeCall, _ path: String, prelude: [UInt8], ended: Bool,
        begun: () -> Void
    ) throws {
        let limits = limits, folder = settings.repositoriesDirectory, isPush = call.isPush
        let run = GitRun(spec: spec(call, path), channel: channel, limits: limits) { () throws(PaaSError) in
            if isPush { try limits.requireSpace(folder) }
        }
        let outcome = try run.perform(prelude: prelude, ended: ended, begun: begun)
        if let reason = outcome.reason {
            // In the middle of a reply there is no place for words of ours.
            return outcome.hasReplied ? try fail(channel, call, reason) : try refuse(channel, call, reason)
        }
        if outcome.status != 0 {
            log("git \(call.verb) of \(call.app) ended with status \(outcome.status): \(outcome.tail.text)")
        }
        try channel.send([GitFrame.exit] + Array("\(outcome.status) \(outcome.tail.text)".utf8))
    }

    /// Git hides what comes with a failed POST, so that the reason is put into words of its protocol.
    private func refuse(_ channel: FrameChannel, _ call: GitExchangeCall, _ error: PaaSError) throws {
        guard !call.advertise else { return try fail(channel, call, error) }
        log("git \(call.verb) of \(call.app) was refused: \(error.message)")
        let words = call.isPush ? "\u{3}\(error.message)" : "ERR \(error.message)"
        try channel.send([GitFrame.output] + PacketWriter.line(words))
        try channel.send([GitFrame.exit] + Array("0 ".utf8))
    }

    private func fail(_ channel: FrameChannel, _ call: GitExchangeCall, _ error: PaaSError) throws {
        log("git \(call.verb) of \(call.app) failed: \(error.message)")
        try channel.send([GitFrame.failed] + GitWire.encode(ErrorReport(error)))
    }

    private func spec(_ call: GitExchangeCall, _ path: String) -> ProcessSpec {
        var arguments = configuration() + [call.verb]
        // A push over SSH is one exchange with the list of refs and one with the rest, as over HTTP.
        if !call.isSession || call.isPush { arguments.append("--stateless-rpc") }
        if call.advertise {
            arguments.append(call.service == .receivePack ? "--http-backend-info-refs" : "--advertise-refs")
        }
        var spec = ProcessSpec("/usr/bin/git", arguments + [path], environment: Self.environment)
        // `Git-Protocol` is for fetches only and comes from outside: only the forms that git knows.
        if let version = call.protocolVersion, ["version=1", "version=2"].contains(version) {
            spec.environment["GIT_PROTOCOL"] = version
        }
        if let ticket = call.ticket { spec.environment["PAAS_PUSH_TICKET"] = ticket }
        spec.environment["PAAS_PUSH_SOCKET"] = settings.pushSocket
        spec.environment["PAAS_PUSH_BEGUN"] = String(GitRun.begunDescriptor)
        spec.openFilesLimit = 1024
        spec.newSession = true
        spec.parentDeathSignal = SIGKILL
        return spec
    }

    /// The whole configuration that matters stands here and not in the repositories.
    private func configuration() -> [String] {
        [
            "core.hooksPath=\(settings.prefix)/hooks", "receive.procReceiveRefs=refs/",
            "receive.advertisePushOptions=true", "receive.advertiseAtomic=false",
            "receive.fsckObjects=true", "receive.fsck.zeroPaddedFilemode=warn",
            "receive.fsck.missingSpaceBeforeDate=warn", "receive.fsck.badTimezone=warn",
            // Ours comes first, with words of its own.
            "receive.maxInputSize=\(limits.pushBytes + (16 << 20))", "receive.autogc=false",
            "receive.denyNonFastForwards=false",
            "receive.unpackLimit=1", "transfer.hideRefs=refs/paas", "uploadpack.hideRefs=refs/paas",
            "gc.auto=0", "pack.threads=2", "protocol.file.allow=never", "core.fsync=all", "core.fsyncMethod=fsync",
        ].flatMap { ["-c", $0] }
    }

    /// The leading lines of a push that are not for git, what came behind them, and whether that was all.
    private func readPrelude(_ channel: FrameChannel) throws(PaaSError) -> ([String], [UInt8], Bool) {
        var prelude = ShallowPrelude()
        while true {
            guard let frame = try InputFeed.next(channel), let tag = frame.first else {
                throw PaaSError(.cancelled, "the pusher went away")
            }
            let ended = tag == GitFrame.endOfInput
            let progress = ended ? prelude.finish() : prelude.feed(frame.dropFirst())
            if case .complete(let shallow, let rest) = progress { return (shallow, rest, ended) }
        }
    }

    /// Only where a push left a list: what it brought may have made entries needless, or never have come.
    private func tidyShallow(_ app: AppID, _ file: ShallowFile) {
        do {
            let idle = try shallowLists.idle(app, file)
            if idle.isEmpty { return }
            let call = try GitWire.encode(GitCall.needless(app: app, shallow: idle))
            switch try GitWire.decode(GitReply.self, work(call, of: app)) {
            case .commits(let needless): try shallowLists.remove(needless, app, file)
            case .failed(let report): throw report.asError
            default: throw PaaSError(.internal, "the worker answered something else than asked")
            }
        } catch {
            log("the list of shallow commits of \(app) stays longer than it must: \(error)")
        }
    }
}
