import Domain

/// What an app's settings may be.
enum AppRules {
    static func validate(labels: [String: String]) throws(PaaSError) {
        guard labels.count <= Limits.labels else {
            throw PaaSError(.invalid, "an app can have at most \(Limits.labels) labels")
        }
        for (key, value) in labels {
            guard !key.isEmpty, key.utf8.count <= Limits.labelKeyBytes, value.utf8.count <= Limits.labelValueBytes,
                isPlain(key), isPlain(value)
            else {
                throw PaaSError(
                    .invalid,
                    "label \(Names.quoted(key)) is not allowed: a key has 1 to \(Limits.labelKeyBytes) bytes, a value up to \(Limits.labelValueBytes), without control characters",
                    invalidParameters: [.init(name: "labels", reason: "key or value not allowed")])
            }
        }
    }

    static func validate(buildpacks: [String]) throws(PaaSError) {
        guard buildpacks.count <= Limits.buildpacks else {
            throw PaaSError(.invalid, "an app can have at most \(Limits.buildpacks) buildpacks")
        }
        for buildpack in buildpacks {
            try BuildpackReference.validate(buildpack)
        }
    }

    /// The rules of `git check-ref-format --branch`, without its rarest corners.
    static func validate(branch: String) throws(PaaSError) {
        let parts = branch.split(separator: "/", omittingEmptySubsequences: false)
        let forbidden: Set<Character> = [" ", "~", "^", ":", "?", "*", "[", "\\"]
        guard branch.utf8.count <= 200, isPlain(branch), !branch.hasPrefix("-"), branch != "@", branch != "HEAD",
            !branch.contains(".."), !branch.contains("@{"), !branch.contains(where: forbidden.contains),
            parts.allSatisfy({ !$0.isEmpty && !$0.hasPrefix(".") && !$0.hasSuffix(".") && !$0.hasSuffix(".lock") })
        else {
            throw PaaSError(
                .invalid, "\(Names.quoted(branch)) is no name of a branch; give one such as main",
                invalidParameters: [.init(name: "deployBranch", reason: "not a branch name")])
        }
    }

    /// Refuses a request for an app that is there, if it wants something else.
    static func requireSame(_ app: App, _ request: AppRequest) throws(PaaSError) {
        if let space = request.space, space != app.spaceName {
            throw PaaSError(.conflict, "app \(app.name) is in space \(app.spaceName), which can't change")
        }
        if request.noPorts && !app.noPorts {
            throw PaaSError(
                .conflict, "app \(app.name) was made with ports, which can't change; remove them one by one instead")
        }
        var changed: [String] = []
        if let stack = request.stack, stack != app.stack { changed.append("stack") }
        if !request.labels.isEmpty && request.labels != app.labels { changed.append("labels") }
        if !request.buildpacks.isEmpty && request.buildpacks != app.buildpacks { changed.append("buildpacks") }
        guard changed.isEmpty else {
            throw PaaSError(
                .conflict,
                "app \(app.name) is there with other \(changed.joined(separator: ", ")); change it with PATCH")
        }
    }

    private static func isPlain(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }
}
