# Removes everything one run has started. Arguments: the run's folder, the run's id, and for a stack
# that processes share how many tenths of a second to wait for one more of them.
# Standard input is a pipe whose other end only the owner holds: it ends when the owner is gone,
# in whichever way. That of a shared stack has a name, and every process that uses the stack holds
# its other end and wrote a line when it came. A sweep of a dead run gives no input at all.
# POSIX sh, no bashism.
trap '' INT TERM HUP QUIT PIPE
run=$1
id=$2
linger=${3:-0}
cd / || exit 1

# Returns when nobody has used the stack for the time to linger. Reading blocks while somebody does.
wait_until_unused() {
    quiet=0
    while [ "$quiet" -lt "$linger" ]; do
        if read -r _; then
            quiet=0
        else
            quiet=$((quiet + 1))
            sleep 0.1 2>/dev/null || { sleep 1; quiet=$((quiet + 9)); }
        fi
    done
}

if [ "$linger" -gt 0 ]; then
    while :; do
        wait_until_unused
        # Whoever comes now finds no stack. Whoever came before has written a line.
        mv "$run/stack.json" "$run/ended.json" 2>/dev/null
        read -r _ || break
        mv "$run/ended.json" "$run/stack.json" 2>/dev/null
    done
else
    while read -r _; do :; done
fi

# Prints state and start time of a process; nothing when it is gone.
describe() {
    if [ -r "/proc/$1/stat" ]; then
        stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
        # The name in parentheses may hold blanks: cut behind the last one.
        set -- ${stat##*) }
        [ $# -ge 20 ] || return 1
        echo "$1 ${20} $3"
    elif [ -d /proc/self ]; then
        return 1
    else
        state=$(ps -o state= -p "$1" 2>/dev/null) && echo "$state - -"
    fi
}

# Is the process of this pid still the one that was registered, and not a zombie?
lives() {
    found=$(describe "$1") || return 1
    set -- "$1" "$2" $found
    case $3 in Z* | X* | '') return 1 ;; esac
    [ "$2" = - ] || [ "$4" = - ] || [ "$2" = "$4" ]
}

signal_all() {
    [ -r "$run/pids" ] || return 0
    while read -r pid start first; do
        [ -n "$pid" ] || continue
        lives "$pid" "$start" || continue
        if [ "$1" = first ]; then
            kill -s "$first" "$pid" 2>/dev/null
        else
            # A process that leads its own group takes the group along.
            found=$(describe "$pid")
            [ "${found##* }" = "$pid" ] && kill -s KILL -- "-$pid" 2>/dev/null
            kill -s KILL "$pid" 2>/dev/null
        fi
    done <"$run/pids"
}

any_lives() {
    [ -r "$run/pids" ] || return 1
    while read -r pid start first; do
        [ -n "$pid" ] && lives "$pid" "$start" && return 0
    done <"$run/pids"
    return 1
}

# Waits at most $1 tenths of a second for all processes to end.
wait_for_end() {
    left=$1
    while any_lives; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.1 2>/dev/null || { sleep 1; left=$((left - 9)); }
    done
}

remove_containers() {
    [ -e "$run/containers" ] && command -v docker >/dev/null 2>&1 || return 0
    containers=$(docker ps -aq --filter "label=org.h2o-allegiant.harness.run=$id" 2>/dev/null)
    [ -z "$containers" ] || docker rm -f -v $containers >/dev/null 2>&1
}

# Process ids of what carries the run's id in its environment.
marked() {
    grep -lsaF "HARNESS_RUN_ID=$id" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3
}

# A database's files may lie in memory, in a folder that carries the run's id.
memory=$(cat "$run/memory" 2>/dev/null)
case $memory in */h2o-allegiant-"$id") ;; *) memory= ;; esac

signal_all first
remove_containers
wait_for_end 50 || { signal_all kill; wait_for_end 20; }

# What was started but not registered before the owner died: servers work in the run's folder
# (Redis overwrites its environment with its title), everything else carries the run's id.
# Looking at every process costs: only where servers were started.
if [ -e "$run/servers" ]; then
    # initdb is asked and waited for: killing the servers that it runs would leave their shared memory.
    for pid in $(marked); do
        case $(readlink "/proc/$pid/exe") in */initdb) ;; *) continue ;; esac
        kill -s TERM "$pid" 2>/dev/null
        left=50
        while [ "$left" -gt 0 ] && lives "$pid" -; do
            left=$((left - 1))
            sleep 0.1 2>/dev/null || { sleep 1; left=$((left - 9)); }
        done
    done
    for pid in $(ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -F -e " -> $run/" -e " -> ${memory:-$run/}" |
        sed -n 's|.* /proc/\([0-9]*\)/cwd -> .*|\1|p'); do
        # A person may stand in the folder too: only servers are ended.
        case $(readlink "/proc/$pid/exe") in
        */postgres | */redis-server) kill -s KILL "$pid" 2>/dev/null ;;
        esac
    done
    for pid in $(marked); do
        kill -s KILL "$pid" 2>/dev/null
    done
fi

# What `harness up` has written, unless a later one has written it since.
if read -r file 2>/dev/null <"$run/environment" && grep -qxF "# run $id" "$file" 2>/dev/null; then
    rm -f "$file"
fi

# Wheels that were being unpacked into the cache; the lock is the mark of such a folder.
if [ -r "$run/unfinished" ]; then
    while read -r folder; do
        case $folder in */.new-*) [ ! -e "$folder/lock" ] || rm -rf "$folder" 2>/dev/null ;; esac
    done <"$run/unfinished"
fi

if [ -r "$run/directories" ]; then
    while read -r directory; do
        [ -z "$directory" ] || rmdir "$directory" 2>/dev/null
    done <"$run/directories"
fi
# The engine may have been creating one more container when the owner died.
remove_containers
# A dying server may still write: try until the folder is gone.
for attempt in 1 2 3 4 5; do
    [ -z "$memory" ] || rm -rf "$memory" 2>/dev/null
    # The note of where the memory is goes after it, and last of all the lock: without this mark no
    # later sweep would take the folder for ours.
    if [ -z "$memory" ] || [ ! -e "$memory" ]; then
        for entry in "$run"/*; do
            [ "$entry" = "$run/lock" ] || rm -rf "$entry" 2>/dev/null
        done
        rm -rf "$run" 2>/dev/null
    fi
    [ -e "$run" ] || exit 0
    sleep 1
done
exit 1
