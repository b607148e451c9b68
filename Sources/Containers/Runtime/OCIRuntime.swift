import Domain
import FoundationEssentials
import Glibc
import OS

/// The OCI runtime's command line. Blocking.
public struct OCIRuntime: Sendable, Hashable {
    public var path: String
    /// As in `runc 1.1.5`.
    public var version: String
    /// Where it keeps its own state.
    public var root: String

    public init(path: String, version: String, root: String) {
        self.path = path
        self.version = version
        self.root = root
    }

    func run(_ arguments: [String], timeoutSeconds: Int = 60) throws(SystemError) -> Command.Result {
        try Command(
            ProcessSpec(path, ["--root", root] + arguments), timeoutSeconds: timeoutSeconds, outputLimit: 64 << 10
        ).run()
    }

    func start(_ id: String) throws(PaaSError) {
        let result: Command.Result
        do throws(SystemError) {
            result = try run(["start", id])
        } catch {
            throw error.asPaaSError("the OCI runtime can't be started")
        }
        guard result.status == 0 else { throw Self.failure("could not start the process", result.errorText) }
    }

    /// Removes its state and the cgroup. Fine if there is none.
    func delete(_ id: String) throws(PaaSError) {
        guard Files.exists(root + "/" + id) else { return }
        do throws(SystemError) {
            let result = try run(["delete", "--force", id])
            if result.status != 0 && Files.exists(root + "/" + id) {
                // A runtime that was killed half-way leaves a folder that it can't read itself; its processes are dead.
                try Files.removeTree(root + "/" + id)
            }
        } catch {
            throw error.asPaaSError("the OCI runtime's state of \(id) can't be removed")
        }
    }

    /// The runtime's own words, one line of at most 400 characters.
    static func failure(_ what: String, _ text: String) -> PaaSError {
        let line = text.split(whereSeparator: \.isNewline).last.map(String.init) ?? "no message"
        return PaaSError(.internal, "the OCI runtime \(what): \(line.suffix(400))")
    }
}

/// Which runtime is used: the setting's, or crun if it can start a trivial container on this host, else runc.
public enum RuntimeChoice {
    public static func choose(settings: Settings, cgroups: HostCgroups) throws(PaaSError) -> OCIRuntime {
        var reasons: [String] = []
        let names = settings.ociRuntime == "auto" ? ["crun", "runc"] : [settings.ociRuntime]
        for name in names {
            do throws(PaaSError) {
                let runtime = try find(name, settings: settings)
                try preflight(runtime, settings: settings, cgroups: cgroups)
                return runtime
            } catch {
                reasons.append("\(name): \(error.message)")
            }
        }
        throw PaaSError(
            .unavailable, "no OCI runtime works on this host (\(reasons.joined(separator: "; "))); apt-get install runc"
        )
    }

    static func find(_ name: String, settings: Settings) throws(PaaSError) -> OCIRuntime {
        for folder in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"] {
            let path = "\(folder)/\(name)"
            guard access(path, X_OK) == 0 else { continue }
            do throws(SystemError) {
                let result = try Command(ProcessSpec(path, ["--version"]), timeoutSeconds: 10).run()
                let words = result.text.prefix { !$0.isNewline }.split(separator: " ")
                guard result.status == 0, let version = words.last else { continue }
                return OCIRuntime(
                    path: path, version: "\(name) \(version)", root: ContainerPaths.runtimeState(settings))
            } catch {
                throw error.asPaaSError("\(path) can't be started")
            }
        }
        throw PaaSError(.unavailable, "not installed")
    }

    /// Starts a container that ends at once, in all the namespaces that an app gets.
    static func preflight(_ runtime: OCIRuntime, settings: Settings, cgroups: HostCgroups) throws(PaaSError) {
        let id = InstanceID.random()
        let folder = "\(settings.runDirectory)/preflight.\(id)"
        var trial = runtime
        trial.root = folder + "/state"
        let group = cgroups.trial(id)
        do {
            defer {
                // What can't be removed now goes at the engine's next start; it must not hide why this one failed.
                _ = try? trial.run(["delete", "--force", "\(id)"])
                try? group.killAll(id, seconds: 5)
                try? group.removeParent()
                try? Files.removeTree(folder)
            }
            let firstUID = OCISpec.firstUID(base: settings.uidBase, slot: 0)
            try Files.makeDirectories(folder + "/rootfs/paas", mode: 0o755)
            try Files.setMode(folder, 0o711)
            for part in ["/rootfs", "/rootfs/paas"] { try Files.setOwner(folder + part, uid: firstUID, gid: firstUID) }
            let spec = OCISpec(
                rootfs: folder + "/rootfs", hostname: "preflight", arguments: [LaunchScript.initPath, "--version"],
                directory: "/", environment: [], firstUID: firstUID, sysfs: nil,
                binds: [.init(HostPrograms.initProgram, at: LaunchScript.initPath, readOnly: true)],
                networkNamespace: nil, cgroupPath: group.containerPath(id),
                limits: .init(memoryBytes: 64 << 20, cpuMillis: 1000), limitsSwap: cgroups.limitsSwap,
                hostOpenFiles: HostFacts.hardOpenFiles(), seccomp: try HostFacts.seccomp(), annotations: [:])
            try Files.writeDurably(folder + "/config.json", spec.document.encoded())
            let result = try trial.run(["run", "--bundle", folder, "\(id)"], timeoutSeconds: 20)
            guard result.status == 0 else { throw OCIRuntime.failure("failed a trial start", result.errorText) }
        } catch let error as PaaSError {
            throw error
        } catch {
            throw PaaSError(.internal, "a trial start failed", cause: error)
        }
    }
}
