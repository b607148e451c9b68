/// How the main process of a build container ends: the exit code that the driver (`paas-lifecycle build`) chooses and the
/// builder puts into words.
public enum BuildExit: Int32, Sendable, CaseIterable {
    case built = 0
    /// No buildpack recognises the source.
    case nothingDetected = 1
    /// A folder, a program or a variable that the platform promises is missing.
    case environmentIncomplete = 2
    /// A buildpack of the app's list can't be had: unknown name, address that can't be fetched, not a buildpack.
    case buildpackUnusable = 3
    /// A buildpack of the app's list does not match the source.
    case buildpackDoesNotMatch = 4
    /// A buildpack failed.
    case compileFailed = 5
    /// A file of the source can't be used: `.slugignore`, `app.json`, `.buildpacks`, `project.toml`.
    case sourceUnusable = 6
    /// The build volume is full.
    case diskFull = 7
    /// The source itself can't be had: address, ref, tarball, submodule.
    case sourceUnavailable = 8
    /// The source or the slug is larger than its limit.
    case tooLarge = 9
}
