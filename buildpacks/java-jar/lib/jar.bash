# Sourced: what is in jars.

# Jars in the root of the source; not those with sources or documentation.
root_jars() { compgen -G '*.jar' | grep -vE -- '(-sources|-javadoc|-tests|-plain)\.jar$|^original-' | LC_ALL=C sort; }
# And where build tools leave theirs.
all_jars() {
    { root_jars; compgen -G 'target/*.jar'; compgen -G 'build/libs/*.jar'; } |
        grep -vE -- '(-sources|-javadoc|-tests|-plain)\.jar$|(^|/)original-' | LC_ALL=C sort -u
}
# attribute JAR NAME: of the main section of the manifest, whose long lines go on in the next one after a space.
attribute() {
    unzip -p -- "$1" META-INF/MANIFEST.MF 2>/dev/null | head -c 65536 | tr -d '\r' |
        awk -v name="$2: " '
            /^$/ { exit }
            /^ / { if (found) value = value substr($0, 2); next }
            found { exit }
            index(tolower($0), tolower(name)) == 1 { found = 1; value = substr($0, length(name) + 1) }
            END { if (found) print value }'
}
main_class() { attribute "$1" Main-Class; }
# java_of JAR CLASS: the Java version that a class was compiled for; nothing if the class is not there.
java_of() {
    local path=${2//.//}.class bytes
    read -r -a bytes < <(unzip -p -- "$1" "$path" 2>/dev/null | head -c 8 | od -An -tu1 | tr '\n' ' ')
    ((${#bytes[@]} == 8)) && ((bytes[0] == 202 && bytes[1] == 254)) && echo $((bytes[6] * 256 + bytes[7] - 44))
}
