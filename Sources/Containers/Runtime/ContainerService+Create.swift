import Domain
import Glibc
import Logging
import OS

extension ContainerService {
    /// What the steps hand on to each other.
    private struct Progress {
        /// File of the network namespace.
        var namespace: String?
        /// Nil for a container that reaches nobody.
        var attachment: NetworkAttachment?
        /// What builds see of the host.
        var hostFolders: [OCISpec.Bind] = []
        /// Authorities that builds trust, if the operator names some.
        var certificates: [UInt8]?
    }

    func create(_ spec: ContainerSpec, _ paths: ContainerPaths) throws {
        var progress = Progress()
        for step in StartStep.allCases {
            let began = Monotonic.now()
            try perform(step, spec, paths, &progress)
            logger.trace(
                "start step",
                metadata: [
                    "instance": "\(spec.id)", "step": "\(step.rawValue)",
                    "milliseconds": "\(Int((Monotonic.now() - began) * 1000))",
                ])
            reachedFault(step)
        }
    }

    private func perform(_ step: StartStep, _ spec: ContainerSpec, _ paths: ContainerPaths, _ progress: inout Progress)
        throws
    {
        let firstUID = OCISpec.firstUID(base: settings.uidBase, slot: spec.uidSlot)
        let mounts = ContainerMounts(paths: paths, firstUID: firstUID, uidSlot: spec.uidSlot, images: images)
        switch step {
        case .record:
            // The runtime works as the app's own root inside the user namespace and has to pass; nobody else may.
            try Files.makeDirectories(paths.directory, mode: 0o710)
            try Files.setOwner(paths.directory, uid: 0, gid: firstUID)
            try persist(ContainerRecord(spec, bootID: bootID))
        case .network:
            if spec.network == .none {
                try network.makeIsolated(at: paths.networkNamespace)
                progress.namespace = paths.networkNamespace
                return
            }
            let attachment = try network.acquire(networkIndex: spec.networkIndex, instance: spec.id)
            progress.attachment = attachment
            progress.namespace = attachment.namespacePath
            try table.update(spec.id, persist: persist) {
                $0.record.address4 = attachment.address4
                $0.record.address6 = attachment.address6
            }
        case .mounts:
            try mounts.mount(spec)
            guard spec.role == .build else { return }
            progress.hostFolders = try HostFolders.mount(
                settings, below: paths.host, rootfs: paths.rootfs, owner: firstUID, logger: logger)
            progress.certificates = try BuildCertificates.bundle(settings, stack: paths.stack)
            if progress.certificates != nil {
                try HostFolders.makePlace(Files.parent(OutsideReach.bundle), in: paths.rootfs, owner: firstUID)
            }
        case .bundle:
            guard let namespace = progress.namespace else {
                throw PaaSError(.internal, "container \(spec.name) has no network")
            }
            try mounts.mountSysfs(networkNamespace: namespace)
            try writeFiles(spec, paths, progress.attachment, owner: firstUID + OCISpec.insideUID)
            var oci = try ociSpec(spec, paths, namespace: namespace, firstUID: firstUID)
            oci.binds += progress.hostFolders
            if let certificates = progress.certificates {
                try write(paths.certificates, certificates, mode: 0o644)
                oci.binds.append(
                    .init(paths.certificates, at: OutsideReach.bundle, readOnly: true, executable: false))
            }
            let document = oci.document
            try Files.makeDirectories(paths.bundle, mode: 0o700)
            try write(paths.config, document.encoded(), mode: 0o600)
        case .monitor:
            let siblings = table.all.count {
                $0.record.app == spec.app && $0.record.id != spec.id && $0.record.phase != .exited
            }
            let log = try logs.prepare(
                app: spec.app, instance: spec.id, name: spec.name, source: spec.role == .build ? .build : .app,
                siblings: siblings)
            let conmon = Conmon(
                runtime: runtime, paths: paths, exitDirectory: ContainerPaths.exits(settings), logPath: log.path,
                logBytes: log.segmentBytes, cgroupFiles: try cgroups.makeMonitor(spec.id))
            let pid = try conmon.create()
            try cgroups.limitMonitor(spec.id)
            try cgroups.openToReaders(spec.id)
            try KernelLimits().apply(to: pid)
            let monitor = try Files.readText(paths.conmonPid).flatMap { Int32($0) }
            let started = try Host.startTime(of: pid)
            let monitorStarted = try monitor.map { pid throws(SystemError) in try Host.startTime(of: pid) } ?? nil
            try table.update(spec.id, persist: persist) {
                $0.record.pid = pid
                $0.record.pidStartTime = started
                $0.record.monitorPid = monitor
                $0.record.monitorStartTime = monitorStarted
            }
        case .start:
            if spec.runsOnce { try table.update(spec.id, persist: persist) { $0.record.mayHaveRun = true } }
            try runtime.start("\(spec.id)")
        case .recordRunning:
            let now = Timestamp.now()
            let uptime = HostFacts.uptime()
            try table.update(spec.id, persist: persist) {
                $0.record.phase = .running
                $0.record.startedAt = now
                $0.record.ready = spec.requiredPorts.isEmpty
                $0.record.deadline = spec.timeLimitSeconds.map { uptime + Double($0) }
            }
        }
    }

    private func write(_ path: String, _ bytes: some Collection<UInt8>, mode: mode_t, owner: UInt32? = nil)
        throws(SystemError)
    {
        let file = try OwnedFD.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode: 0o600)
        try file.writeAll(bytes)
        if let owner { try Files.setOwner(path, uid: owner, gid: owner) }
        try Files.setMode(path, mode)
    }

    private func writeFiles(
        _ spec: ContainerSpec, _ paths: ContainerPaths, _ attachment: NetworkAttachment?, owner: UInt32
    ) throws(SystemError) {
        // Others than the app's own uid can't open what is secret; the folder only has to be passed. What lies on a ramfs
        // stays out of swap on every kernel; a tmpfs promises that from Linux 6.4 on.
        try Files.makeDirectories(paths.files, mode: 0o711)
        try ContainerMounts.mount("paas", paths.files, "ramfs", UInt(MS_NOSUID) | UInt(MS_NODEV), "mode=0711")
        var environment: [UInt8] = []
        for variable in spec.environment { environment += Array(variable.name.utf8) + [61] + variable.value + [0] }
        try write(paths.environment, environment, mode: 0o400, owner: owner)
        if spec.role == .build {
            try Files.makeDirectories(paths.environmentFolder, mode: 0o500)
            for variable in spec.environmentFiles {
                try write("\(paths.environmentFolder)/\(variable.name)", variable.value, mode: 0o400, owner: owner)
            }
            try Files.setOwner(paths.environmentFolder, uid: owner, gid: owner)
        }
        try write(paths.resolvConf, ResolverConfiguration.file(attachment?.resolvers ?? []), mode: 0o644)
        let host = OCISpec.hostname(of: spec.name)
        var hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"
        let addresses = attachment.map { [$0.address4, $0.address6] } ?? ["127.0.0.1", "::1"]
        for address in addresses { hosts += "\(address)\t\(host)\n" }
        try write(paths.hosts, hosts.utf8, mode: 0o644)
    }

    private func ociSpec(
        _ spec: ContainerSpec, _ paths: ContainerPaths, namespace: String, firstUID: UInt32
    ) throws(PaaSError) -> OCISpec {
        let lifecycle = settings.prefix + "/bin/paas-lifecycle"
        guard access(lifecycle, X_OK) == 0 else {
            throw PaaSError(
                .internal, "\(lifecycle) is missing on this host; run bin/up again, which installs it",
                source: .platform)
        }
        var binds: [OCISpec.Bind] = [
            .init(HostPrograms.initProgram, at: LaunchScript.initPath, readOnly: true),
            .init(ContainerPaths.launchScript(settings), at: LaunchScript.path, readOnly: true),
            // The file that is there now: an upgrade puts another one in its place, and this container keeps its own.
            .init(lifecycle, at: LaunchScript.lifecyclePath, readOnly: true),
            .init(paths.environment, at: LaunchScript.environmentPath, readOnly: true, executable: false),
            .init(paths.resolvConf, at: "/etc/resolv.conf", readOnly: true, executable: false),
            .init(paths.hosts, at: "/etc/hosts", readOnly: true, executable: false),
        ]
        var environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        let arguments: [String]
        switch spec.role {
        case .process:
            arguments = LaunchScript.arguments(command: spec.command)
            environment.append("HOME=/app")
            binds += [
                .init(paths.app, at: "/app", readOnly: false),
                .init(paths.writable + "/tmp", at: "/tmp", readOnly: false),
            ]
        case .build:
            arguments = LaunchScript.buildArguments
            environment.append("HOME=/tmp/home")
            let volume = images.buildPaths(build: BuildID(spec.id.uuid))
            binds += [
                .init(volume.app, at: "/app", readOnly: false), .init(volume.cache, at: "/cache", readOnly: false),
                .init(volume.layers, at: "/layers", readOnly: false),
                .init(volume.tmp, at: "/tmp", readOnly: false), .init(volume.result, at: "/result", readOnly: false),
                .init(paths.environmentFolder, at: "/env", readOnly: true, executable: false),
                .init(settings.prefix + "/buildpacks", at: LaunchScript.buildpacksPath, readOnly: true),
            ]
        }
        return OCISpec(
            rootfs: paths.rootfs, hostname: OCISpec.hostname(of: spec.name), arguments: arguments, directory: "/app",
            environment: environment, firstUID: firstUID, sysfs: paths.sys, binds: binds,
            networkNamespace: namespace, cgroupPath: cgroups.containerPath(spec.id), limits: spec.limits,
            limitsSwap: cgroups.limitsSwap, hostOpenFiles: HostFacts.hardOpenFiles(), seccomp: seccomp,
            annotations: [
                "paas.instance": "\(spec.id)", "paas.app": "\(spec.app)", "paas.platform": settings.instance,
                "paas.epoch": "\(spec.epoch)",
            ])
    }
}
