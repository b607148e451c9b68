/// What runs first inside a container, as `/bin/bash /paas/launch`.
///
/// The environment comes from a file because its values are any bytes but NUL, which OCI's JSON can't carry, and because a
/// bundle is easier to read by mistake than a file that only the app's own uid may open.
///
/// `bash -c` replaces itself by a single command, so the process that is signalled is the app's own; a list as in
/// `a && b` keeps its meaning, which a literal `exec ` in front would break. Signals go to the whole process group
/// (`tini -g`), so that the parts of such a list get SIGTERM too.
///
/// In a slug that Cloud Native Buildpacks made, the launcher (`paas-lifecycle launch`) gives commands their layers'
/// environment and sources the profiles itself; a command that calls it already is run as it is.
///
/// bash keeps some variables to itself, which an app therefore can't set (`Names.validateConfigKey`). The script's own begin
/// with `PAAS_`, as no config var does.
enum LaunchScript {
    /// Inside the container.
    static let path = "/paas/launch"
    static let environmentPath = "/paas/environment"
    static let initPath = "/paas/init"
    static let buildpacksPath = "/paas/buildpacks"
    /// `paas-lifecycle`: the driver of builds, and the launcher of what Cloud Native Buildpacks made.
    static let lifecyclePath = "/paas/lifecycle"

    /// The arguments of a process.
    static func arguments(command: String) -> [String] {
        [initPath, "-g", "--", "/bin/bash", "--noprofile", "--norc", path, "run", command]
    }

    static let buildArguments = [initPath, "-g", "--", "/bin/bash", "--noprofile", "--norc", path, "build"]

    static let text = #"""
        # Made by paas-engine. Imports the environment byte for byte, then becomes the app's process.
        PAAS__mode=$1
        PAAS__command=${2-}
        # Before the app's own variables count: file names in the order of their bytes.
        LC_ALL=C
        shopt -s nullglob
        PAAS__profiles=(/app/.profile.d/*.sh)
        shopt -u nullglob
        unset LC_ALL
        mapfile -d '' -t PAAS__environment </paas/environment || exit 125
        for PAAS__entry in "${PAAS__environment[@]}"; do
          export "$PAAS__entry"
        done
        unset PAAS__environment PAAS__entry
        if [ "$PAAS__mode" = build ]; then
          unset PAAS__mode PAAS__command PAAS__profiles
          mkdir -p "$HOME" || exit 125
          exec /paas/lifecycle build
        fi
        cd /app || exit 125
        if [ -f /app/.layers/config/metadata.toml ]; then
          unset PAAS__mode PAAS__profiles
          case $PAAS__command in
            '/paas/lifecycle launch '*) exec /bin/bash -c "$PAAS__command" ;;
            *) exec /paas/lifecycle launch --shell "$PAAS__command" ;;
          esac
        fi
        for PAAS__profile in "${PAAS__profiles[@]}"; do
          . "$PAAS__profile"
        done
        if [ -f /app/.profile ]; then
          . /app/.profile
        fi
        unset PAAS__mode PAAS__profiles PAAS__profile
        exec /bin/bash -c "$PAAS__command"

        """#
}
